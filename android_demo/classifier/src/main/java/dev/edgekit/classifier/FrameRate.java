package dev.edgekit.classifier;

/** Frames per second over the last frames. One thread uses it. */
public final class FrameRate {
  private final long[] times;
  private int count;

  /** Looks at the last {@code window} frames, at least two. */
  public FrameRate(int window) {
    times = new long[window];
  }

  /** A frame is done, at a time in nanoseconds. */
  public void add(long time) {
    times[count % times.length] = time;
    count++;
  }

  /** NaN before the second frame. */
  public double perSecond() {
    int frames = Math.min(count, times.length);
    if (frames < 2) return Double.NaN;
    long last = times[(count - 1) % times.length];
    long first = times[(count - frames) % times.length];
    return (frames - 1) * 1e9 / (last - first);
  }
}
