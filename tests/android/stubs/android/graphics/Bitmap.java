package android.graphics;

import androidx.annotation.NonNull;
import androidx.annotation.Nullable;
import java.nio.Buffer;

public final class Bitmap {
  public enum Config {
    ALPHA_8,
    RGB_565,
    ARGB_4444,
    ARGB_8888,
    RGBA_F16,
    HARDWARE,
    RGBA_1010102
  }

  @NonNull
  public static Bitmap createBitmap(
      @NonNull int[] colours, int width, int height, @NonNull Config config) {
    throw new UnsupportedOperationException();
  }

  public void copyPixelsToBuffer(@NonNull Buffer target) {
    throw new UnsupportedOperationException();
  }

  @Nullable
  public final Config getConfig() {
    throw new UnsupportedOperationException();
  }

  public final int getWidth() {
    throw new UnsupportedOperationException();
  }

  public final int getHeight() {
    throw new UnsupportedOperationException();
  }

  public final int getRowBytes() {
    throw new UnsupportedOperationException();
  }
}
