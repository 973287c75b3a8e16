package android.content;

import android.content.res.AssetManager;
import androidx.annotation.NonNull;

public abstract class Context {
  public static final String DISPLAY_SERVICE = "display";

  public AssetManager getAssets() {
    throw new UnsupportedOperationException();
  }

  public ContentResolver getContentResolver() {
    throw new UnsupportedOperationException();
  }

  public Context getApplicationContext() {
    throw new UnsupportedOperationException();
  }

  public String getPackageName() {
    throw new UnsupportedOperationException();
  }

  public final String getString(int id) {
    throw new UnsupportedOperationException();
  }

  public final String getString(int id, Object... arguments) {
    throw new UnsupportedOperationException();
  }

  public abstract Object getSystemService(@NonNull String name);

  public void startActivity(Intent intent) {
    throw new UnsupportedOperationException();
  }
}
