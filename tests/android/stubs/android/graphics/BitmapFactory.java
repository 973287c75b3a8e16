package android.graphics;

import androidx.annotation.NonNull;
import androidx.annotation.Nullable;
import java.io.InputStream;

public class BitmapFactory {
  @Nullable
  public static Bitmap decodeByteArray(
      @NonNull byte[] data, int offset, int length, @Nullable Options options) {
    throw new UnsupportedOperationException();
  }

  @Nullable
  public static Bitmap decodeStream(
      @Nullable InputStream in, @Nullable Rect padding, @Nullable Options options) {
    throw new UnsupportedOperationException();
  }

  public static class Options {
    public boolean inJustDecodeBounds;
    public Bitmap.Config inPreferredConfig = Bitmap.Config.ARGB_8888;
    public boolean inPremultiplied = true;
    public int inSampleSize;
    public boolean inScaled = true;
    public int outWidth;
    public int outHeight;
  }
}
