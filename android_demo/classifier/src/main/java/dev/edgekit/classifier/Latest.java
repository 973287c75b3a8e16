package dev.edgekit.classifier;

import java.util.concurrent.atomic.AtomicReference;

/**
 * Hands values from one thread to a slower one, which gets only the latest: nothing queues up.
 *
 * @param <T> What is handed over.
 */
public final class Latest<T> {
  private final AtomicReference<T> waiting = new AtomicReference<>();

  /** Leaves a value; true where the other thread has to be told, because none was waiting. */
  public boolean offer(T value) {
    return waiting.getAndSet(value) == null;
  }

  /** The latest value, once; null where there is none. */
  public T take() {
    return waiting.getAndSet(null);
  }
}
