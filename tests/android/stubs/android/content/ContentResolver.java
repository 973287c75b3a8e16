package android.content;

import android.net.Uri;
import androidx.annotation.NonNull;
import androidx.annotation.Nullable;
import java.io.FileNotFoundException;
import java.io.InputStream;

public abstract class ContentResolver {
  @Nullable
  public final InputStream openInputStream(@NonNull Uri uri) throws FileNotFoundException {
    throw new UnsupportedOperationException();
  }
}
