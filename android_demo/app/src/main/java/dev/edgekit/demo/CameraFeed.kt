package dev.edgekit.demo

import android.content.Context
import android.hardware.display.DisplayManager
import androidx.activity.ComponentActivity
import androidx.camera.core.CameraInfoUnavailableException
import androidx.camera.core.CameraSelector
import androidx.camera.core.CameraState
import androidx.camera.core.ImageAnalysis
import androidx.camera.core.Preview
import androidx.camera.lifecycle.ProcessCameraProvider
import androidx.camera.view.PreviewView
import androidx.core.content.ContextCompat
import com.google.common.util.concurrent.ListenableFuture
import java.util.concurrent.ExecutionException

/** The camera's frames, on the screen and for the model. On the main thread. */
internal class CameraFeed(
    private val activity: ComponentActivity,
    private val view: PreviewView,
    private val inference: Inference,
    /** Told a text for the user, or null where the trouble is over. */
    private val onTrouble: (Int?) -> Unit,
) {
    private val displays = activity.getSystemService(Context.DISPLAY_SERVICE) as DisplayManager
    private var analysis: ImageAnalysis? = null
    private var provider: ProcessCameraProvider? = null
    private var isWanted = false

    /** A turn by 180 degrees doesn't create the activity anew. */
    private val turning =
        object : DisplayManager.DisplayListener {
            override fun onDisplayAdded(displayId: Int) = Unit

            override fun onDisplayRemoved(displayId: Int) = Unit

            override fun onDisplayChanged(displayId: Int) {
                val display = view.display ?: return
                if (display.displayId == displayId) analysis?.targetRotation = display.rotation
            }
        }

    fun start() {
        if (isWanted) return
        isWanted = true
        displays.registerDisplayListener(turning, null)
        val future = ProcessCameraProvider.getInstance(activity)
        future.addListener({ onProvider(future) }, ContextCompat.getMainExecutor(activity))
    }

    fun stop() {
        if (!isWanted) return
        isWanted = false
        displays.unregisterDisplayListener(turning)
        analysis?.clearAnalyzer()
        analysis = null
        provider?.unbindAll()
    }

    private fun onProvider(future: ListenableFuture<ProcessCameraProvider>) {
        if (!isWanted) return
        try {
            provider = future.get().also(::bind)
        } catch (_: ExecutionException) {
            giveUp(R.string.camera_missing)
        } catch (_: CameraInfoUnavailableException) {
            giveUp(R.string.camera_missing)
        } catch (_: IllegalArgumentException) {
            // The camera can't serve both at once, or is gone since it was listed.
            giveUp(R.string.camera_missing)
        } catch (_: IllegalStateException) {
            giveUp(R.string.camera_lost)
        }
    }

    /** Until [start] is called again. */
    private fun giveUp(text: Int) {
        stop()
        onTrouble(text)
    }

    private fun bind(provider: ProcessCameraProvider) {
        val camera =
            listOf(CameraSelector.DEFAULT_BACK_CAMERA, CameraSelector.DEFAULT_FRONT_CAMERA)
                .firstOrNull(provider::hasCamera)
        if (camera == null) {
            giveUp(R.string.camera_missing)
            return
        }
        val preview = Preview.Builder().build()
        preview.setSurfaceProvider(view.surfaceProvider)
        val frames =
            ImageAnalysis.Builder()
                .setBackpressureStrategy(ImageAnalysis.STRATEGY_KEEP_ONLY_LATEST)
                .setOutputImageFormat(ImageAnalysis.OUTPUT_IMAGE_FORMAT_RGBA_8888)
                .build()
        view.display?.let { frames.targetRotation = it.rotation }
        frames.setAnalyzer(inference.executor, inference)
        analysis = frames
        provider.unbindAll()
        val bound = provider.bindToLifecycle(activity, camera, preview, frames)
        val state = bound.cameraInfo.cameraState
        state.removeObservers(activity)
        state.observe(activity, ::onState)
    }

    private fun onState(state: CameraState) {
        if (state.error != null) {
            onTrouble(R.string.camera_lost)
        } else if (state.type == CameraState.Type.OPEN) {
            onTrouble(null)
        }
    }
}
