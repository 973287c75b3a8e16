package androidx.camera.view;

import android.content.Context;
import android.widget.FrameLayout;
import androidx.annotation.NonNull;
import androidx.camera.core.Preview;

public final class PreviewView extends FrameLayout {
  public PreviewView(Context context) {
    super(context);
  }

  @NonNull
  public Preview.SurfaceProvider getSurfaceProvider() {
    throw new UnsupportedOperationException();
  }

  @NonNull
  public ScaleType getScaleType() {
    throw new UnsupportedOperationException();
  }

  public void setScaleType(@NonNull ScaleType type) {
    throw new UnsupportedOperationException();
  }

  public enum ScaleType {
    FILL_START,
    FILL_CENTER,
    FILL_END,
    FIT_START,
    FIT_CENTER,
    FIT_END
  }
}
