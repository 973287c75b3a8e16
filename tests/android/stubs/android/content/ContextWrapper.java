package android.content;

import androidx.annotation.NonNull;

public class ContextWrapper extends Context {
  @Override
  public Object getSystemService(@NonNull String name) {
    throw new UnsupportedOperationException();
  }
}
