package androidx.activity;

import android.app.Activity;
import androidx.activity.result.ActivityResultCallback;
import androidx.activity.result.ActivityResultLauncher;
import androidx.activity.result.contract.ActivityResultContract;
import androidx.annotation.NonNull;
import androidx.lifecycle.LifecycleOwner;

public class ComponentActivity extends Activity implements LifecycleOwner {
  @NonNull
  public final <I, O> ActivityResultLauncher<I> registerForActivityResult(
      @NonNull ActivityResultContract<I, O> contract, @NonNull ActivityResultCallback<O> callback) {
    throw new UnsupportedOperationException();
  }
}
