package android.view;

import android.content.Context;
import androidx.annotation.Nullable;

public class View {
  public static final int VISIBLE = 0;
  public static final int INVISIBLE = 4;
  public static final int GONE = 8;
  public View(Context context) {
    throw new UnsupportedOperationException();
  }

  public final Context getContext() {
    throw new UnsupportedOperationException();
  }

  public final <T extends View> T findViewById(int id) {
    throw new UnsupportedOperationException();
  }

  /** Null while it isn't attached; Android has no annotation here. */
  public Display getDisplay() {
    throw new UnsupportedOperationException();
  }

  public int getVisibility() {
    throw new UnsupportedOperationException();
  }

  public void setVisibility(int visibility) {
    throw new UnsupportedOperationException();
  }

  public boolean isEnabled() {
    throw new UnsupportedOperationException();
  }

  public void setEnabled(boolean enabled) {
    throw new UnsupportedOperationException();
  }

  public void setPadding(int left, int top, int right, int bottom) {
    throw new UnsupportedOperationException();
  }

  public void setOnClickListener(@Nullable OnClickListener listener) {
    throw new UnsupportedOperationException();
  }

  public interface OnClickListener {
    void onClick(View view);
  }
}
