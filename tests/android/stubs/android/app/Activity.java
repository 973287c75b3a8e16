package android.app;

import android.content.ContextWrapper;
import android.os.Bundle;
import android.view.View;
import androidx.annotation.NonNull;
import androidx.annotation.Nullable;

public class Activity extends ContextWrapper {
  public <T extends View> T findViewById(int id) {
    throw new UnsupportedOperationException();
  }

  public void setContentView(int layout) {
    throw new UnsupportedOperationException();
  }

  public boolean shouldShowRequestPermissionRationale(@NonNull String permission) {
    throw new UnsupportedOperationException();
  }

  protected void onCreate(@Nullable Bundle state) {
    throw new UnsupportedOperationException();
  }

  protected void onStart() {
    throw new UnsupportedOperationException();
  }

  protected void onDestroy() {
    throw new UnsupportedOperationException();
  }

  protected void onSaveInstanceState(@NonNull Bundle state) {
    throw new UnsupportedOperationException();
  }
}
