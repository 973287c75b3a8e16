package androidx.camera.lifecycle;

import android.content.Context;
import androidx.annotation.NonNull;
import androidx.camera.core.Camera;
import androidx.camera.core.CameraInfoUnavailableException;
import androidx.camera.core.CameraSelector;
import androidx.camera.core.UseCase;
import androidx.lifecycle.LifecycleOwner;
import com.google.common.util.concurrent.ListenableFuture;

public final class ProcessCameraProvider {
  @NonNull
  public static ListenableFuture<ProcessCameraProvider> getInstance(@NonNull Context context) {
    throw new UnsupportedOperationException();
  }

  public boolean hasCamera(@NonNull CameraSelector selector) throws CameraInfoUnavailableException {
    throw new UnsupportedOperationException();
  }

  @NonNull
  public Camera bindToLifecycle(
      @NonNull LifecycleOwner owner, @NonNull CameraSelector selector, UseCase... useCases) {
    throw new UnsupportedOperationException();
  }

  public void unbindAll() {
    throw new UnsupportedOperationException();
  }
}
