package androidx.exifinterface.media;

import androidx.annotation.NonNull;
import java.io.IOException;
import java.io.InputStream;

public class ExifInterface {
  public static final String TAG_ORIENTATION = "Orientation";
  public static final int ORIENTATION_NORMAL = 1;
  public ExifInterface(@NonNull InputStream in) throws IOException {
    throw new UnsupportedOperationException();
  }

  public int getAttributeInt(@NonNull String tag, int otherwise) {
    throw new UnsupportedOperationException();
  }
}
