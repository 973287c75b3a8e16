package androidx.camera.core;

import androidx.annotation.NonNull;
import androidx.annotation.Nullable;

public abstract class CameraState {
  @NonNull
  public abstract Type getType();

  @Nullable
  public abstract StateError getError();

  public enum Type {
    PENDING_OPEN,
    OPENING,
    OPEN,
    CLOSING,
    CLOSED
  }

  public abstract static class StateError {
    public abstract int getCode();
  }
}
