package androidx.camera.core;

import androidx.annotation.NonNull;
import androidx.annotation.Nullable;

public final class Preview extends UseCase {
  public void setSurfaceProvider(@Nullable SurfaceProvider provider) {
    throw new UnsupportedOperationException();
  }

  public interface SurfaceProvider {}

  public static final class Builder {
    @NonNull
    public Preview build() {
      throw new UnsupportedOperationException();
    }
  }
}
