package androidx.core.content;

import android.content.Context;
import androidx.annotation.NonNull;
import java.util.concurrent.Executor;

public class ContextCompat {
  @NonNull
  public static Executor getMainExecutor(@NonNull Context context) {
    throw new UnsupportedOperationException();
  }

  public static int checkSelfPermission(@NonNull Context context, @NonNull String permission) {
    throw new UnsupportedOperationException();
  }

  public static int getColor(@NonNull Context context, int id) {
    throw new UnsupportedOperationException();
  }
}
