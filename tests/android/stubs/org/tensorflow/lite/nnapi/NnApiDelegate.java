package org.tensorflow.lite.nnapi;

import org.tensorflow.lite.Delegate;
import org.tensorflow.lite.Fake;

public class NnApiDelegate implements Delegate, AutoCloseable {
  public NnApiDelegate() {
    Fake.link(this);
  }

  @Override
  public long getNativeHandle() {
    return 1;
  }

  public int getNnapiErrno() {
    return Fake.errno;
  }

  @Override
  public void close() {
    Fake.note(this, "closed");
  }
}
