package android.view;

import android.content.Context;
import androidx.annotation.Nullable;

public abstract class LayoutInflater {
  public static LayoutInflater from(Context context) {
    throw new UnsupportedOperationException();
  }

  public View inflate(int layout, @Nullable ViewGroup root, boolean attach) {
    throw new UnsupportedOperationException();
  }
}
