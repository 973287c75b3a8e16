package android.content.res;

import androidx.annotation.NonNull;
import androidx.annotation.Nullable;
import java.io.IOException;
import java.io.InputStream;

public final class AssetManager {
  @Nullable
  public String[] list(@NonNull String path) throws IOException {
    throw new UnsupportedOperationException();
  }

  @NonNull
  public InputStream open(@NonNull String path) throws IOException {
    throw new UnsupportedOperationException();
  }

  @NonNull
  public AssetFileDescriptor openFd(@NonNull String path) throws IOException {
    throw new UnsupportedOperationException();
  }
}
