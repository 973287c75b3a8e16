package android.hardware.display;

import android.os.Handler;
import androidx.annotation.Nullable;

public final class DisplayManager {
  public void registerDisplayListener(DisplayListener listener, @Nullable Handler handler) {
    throw new UnsupportedOperationException();
  }

  public void unregisterDisplayListener(DisplayListener listener) {
    throw new UnsupportedOperationException();
  }

  public interface DisplayListener {
    void onDisplayAdded(int displayId);

    void onDisplayRemoved(int displayId);

    void onDisplayChanged(int displayId);
  }
}
