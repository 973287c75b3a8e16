package androidx.camera.core;

import androidx.annotation.NonNull;
import java.util.concurrent.Executor;

public final class ImageAnalysis extends UseCase {
  public static final int STRATEGY_KEEP_ONLY_LATEST = 0;
  public static final int OUTPUT_IMAGE_FORMAT_RGBA_8888 = 2;

  public void clearAnalyzer() {
    throw new UnsupportedOperationException();
  }

  public void setAnalyzer(@NonNull Executor executor, @NonNull Analyzer analyzer) {
    throw new UnsupportedOperationException();
  }

  public int getTargetRotation() {
    throw new UnsupportedOperationException();
  }

  public void setTargetRotation(int rotation) {
    throw new UnsupportedOperationException();
  }

  public interface Analyzer {
    void analyze(@NonNull ImageProxy image);
  }

  public static final class Builder {
    @NonNull
    public Builder setBackpressureStrategy(int strategy) {
      throw new UnsupportedOperationException();
    }

    @NonNull
    public Builder setOutputImageFormat(int format) {
      throw new UnsupportedOperationException();
    }

    @NonNull
    public ImageAnalysis build() {
      throw new UnsupportedOperationException();
    }
  }
}
