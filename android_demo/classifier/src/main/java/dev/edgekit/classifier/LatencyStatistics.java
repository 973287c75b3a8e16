package dev.edgekit.classifier;

import java.util.Arrays;

/** Latencies of the last inferences, and their percentiles. One thread writes, others may read. */
public final class LatencyStatistics {
  private final long[] nanoseconds;
  private int next;
  private int count;

  /** Keeps the last {@code window} of them. */
  public LatencyStatistics(int window) {
    nanoseconds = new long[window];
  }

  public synchronized void add(long latency) {
    nanoseconds[next] = latency;
    next = (next + 1) % nanoseconds.length;
    count = Math.min(count + 1, nanoseconds.length);
  }

  public synchronized void clear() {
    next = 0;
    count = 0;
  }

  public synchronized int count() {
    return count;
  }

  /**
   * A percentile in milliseconds, linearly interpolated as numpy.percentile does; NaN where there
   * are none yet.
   */
  public synchronized double percentile(double percent) {
    if (count == 0) return Double.NaN;
    long[] sorted = Arrays.copyOf(nanoseconds, count);
    Arrays.sort(sorted);
    double place = percent / 100 * (count - 1);
    int below = (int) place;
    int above = Math.min(below + 1, count - 1);
    return (sorted[below] + (place - below) * (sorted[above] - sorted[below])) / 1e6;
  }
}
