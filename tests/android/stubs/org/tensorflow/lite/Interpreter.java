package org.tensorflow.lite;

import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;

/** Takes 12 int8 values and gives 3, the first of them. */
public final class Interpreter extends InterpreterImpl {
  public static class Options {
    private final List<Delegate> delegates = new ArrayList<>();
    private int threads = -1;
    private boolean xnnpack = true;

    public Options setNumThreads(int count) {
      threads = count;
      return this;
    }

    public Options addDelegate(Delegate delegate) {
      delegates.add(delegate);
      return this;
    }

    public Options setUseXNNPACK(boolean use) {
      xnnpack = use;
      return this;
    }
  }

  private final List<Delegate> delegates;

  public Interpreter(ByteBuffer model, Options options) {
    delegates = options.delegates;
    refuse(Fake.refusedAtFirst);
    Fake.note(this, "made, threads " + options.threads + ", XNNPACK " + options.xnnpack);
  }

  private void refuse(String refused) {
    for (Delegate delegate : delegates) {
      if (delegate.getClass().getSimpleName().equals(refused)) {
        throw new IllegalArgumentException("Internal error: Failed to apply delegate.");
      }
    }
  }

  public void run(Object input, Object output) {
    refuse(Fake.refusedWhenRun);
    ByteBuffer from = ((ByteBuffer) input).duplicate();
    byte[] scores = new byte[3];
    from.get(scores);
    ((ByteBuffer) output).put(scores);
  }

  public Tensor getInputTensor(int index) {
    return tensor(12);
  }

  public Tensor getOutputTensor(int index) {
    return tensor(3);
  }

  private static Tensor tensor(int size) {
    return new Tensor() {
      @Override
      public DataType dataType() {
        return DataType.INT8;
      }

      @Override
      public int numElements() {
        return size;
      }

      @Override
      public QuantizationParams quantizationParams() {
        return new QuantizationParams(0.5f, -7);
      }
    };
  }
}
