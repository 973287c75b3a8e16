package android.os;

import androidx.annotation.NonNull;

public class Handler {
  public Handler(@NonNull Looper looper) {
    throw new UnsupportedOperationException();
  }

  public final boolean post(@NonNull Runnable work) {
    throw new UnsupportedOperationException();
  }
}
