package org.tensorflow.lite.gpu;

import org.tensorflow.lite.Delegate;
import org.tensorflow.lite.Fake;

public class GpuDelegate implements Delegate {
  public GpuDelegate(GpuDelegateFactory.Options options) {
    Fake.link(this);
  }

  @Override
  public long getNativeHandle() {
    return 1;
  }

  @Override
  public void close() {
    Fake.note(this, "closed");
  }
}
