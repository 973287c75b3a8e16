package dev.edgekit.demo

import android.content.Context
import android.os.Handler
import android.os.Looper
import androidx.camera.core.ImageAnalysis
import androidx.camera.core.ImageProxy
import dev.edgekit.classifier.Classifier
import dev.edgekit.classifier.ContractException
import dev.edgekit.classifier.FrameRate
import dev.edgekit.classifier.Latest
import dev.edgekit.classifier.LatencyStatistics
import dev.edgekit.classifier.ModelIndex
import dev.edgekit.classifier.Picture
import dev.edgekit.classifier.SelfCheck
import java.io.Closeable
import java.io.IOException
import java.util.concurrent.Executor
import java.util.concurrent.LinkedBlockingQueue
import java.util.concurrent.ThreadPoolExecutor
import java.util.concurrent.TimeUnit

/**
 * All that the model does, on one thread of its own. The camera hands its frames to that thread:
 * while it is busy, CameraX drops all frames but the latest. What comes out is told on the main
 * thread, and there too only the latest.
 */
internal class Inference(
    private val context: Context,
    private val store: ModelStore,
    private val listener: Listener,
) : ImageAnalysis.Analyzer, Closeable {
    /** Called on the main thread. */
    interface Listener {
        fun onLoaded(engagement: String, verdict: SelfCheck.Verdict)

        fun onLive(answer: Classifier.Answer, speed: Speed)

        fun onPhoto(answer: Classifier.Answer)

        /** There is a text for the user; the model still works. */
        fun onPhotoTrouble(text: Int)

        /** The model can't be used. */
        fun onFailure(message: String)
    }

    /** Of the last frames. */
    class Speed(
        val median: Double,
        val p90: Double,
        val preparation: Double,
        val framesPerSecond: Double,
    )

    private class Live(val generation: Int, val answer: Classifier.Answer, val speed: Speed)

    /** After [close] the camera's last frames are dropped without an error. */
    private val worker =
        ThreadPoolExecutor(
            1,
            1,
            0,
            TimeUnit.MILLISECONDS,
            LinkedBlockingQueue(),
            ThreadPoolExecutor.DiscardPolicy(),
        )
    private val main = Handler(Looper.getMainLooper())
    private val latest = Latest<Live>()

    /** Counts loads: what an earlier model gave is not shown for a later one. */
    @Volatile private var asked = 0

    // All of this on the worker only.
    private var session: Session? = null
    private var generation = 0
    private val inferences = LatencyStatistics(WINDOW)
    private val preparations = LatencyStatistics(WINDOW)
    private var frames = FrameRate(WINDOW)

    /** Where [analyze] has to be called. */
    val executor: Executor = worker

    /** Replaces the model; the old one is closed first. */
    fun load(entry: ModelIndex.Entry, choice: Choice) {
        val number = ++asked
        worker.execute {
            // The user may have chosen anew while this waited.
            if (number != asked) return@execute
            session?.close()
            session = null
            generation = number
            inferences.clear()
            preparations.clear()
            frames = FrameRate(WINDOW)
            guarded(number) {
                val opened = Session.open(store, entry, choice)
                session = opened
                tell(number) { listener.onLoaded(opened.engagement, opened.verdict) }
            }
        }
    }

    /** Classifies one picture, which is read on the worker. */
    fun classify(read: () -> Picture) {
        val number = asked
        worker.execute {
            guarded(number) {
                val answer = session?.classify(read())
                if (answer != null) tell(number) { listener.onPhoto(answer) }
            }
        }
    }

    override fun analyze(image: ImageProxy) {
        image.use {
            val opened = session ?: return
            guarded(generation) { live(opened.classify(image.toPicture())) }
        }
    }

    private fun live(answer: Classifier.Answer) {
        inferences.add(answer.inferenceNanoseconds)
        preparations.add(answer.preparationNanoseconds)
        frames.add(System.nanoTime())
        val speed =
            Speed(
                inferences.percentile(50.0),
                inferences.percentile(90.0),
                preparations.percentile(50.0),
                frames.perSecond(),
            )
        if (latest.offer(Live(generation, answer, speed))) {
            main.post {
                val live = latest.take()
                if (live != null && live.generation == asked) {
                    listener.onLive(live.answer, live.speed)
                }
            }
        }
    }

    /** Turns what can go wrong into a message. A model that failed is closed and stays so. */
    private inline fun guarded(number: Int, work: () -> Unit) {
        try {
            work()
        } catch (error: ContractException) {
            fail(number, error.message.orEmpty())
        } catch (_: IOException) {
            tell(number) { listener.onPhotoTrouble(R.string.photo_unreadable) }
        } catch (_: SecurityException) {
            tell(number) { listener.onPhotoTrouble(R.string.photo_unreadable) }
        } catch (error: RuntimeException) {
            fail(number, context.getString(R.string.runtime_failed, error.message.orEmpty()))
        } catch (error: LinkageError) {
            fail(number, context.getString(R.string.runtime_failed, error.message.orEmpty()))
        } catch (_: OutOfMemoryError) {
            if (session == null) {
                fail(number, context.getString(R.string.memory_short))
            } else {
                tell(number) { listener.onPhotoTrouble(R.string.photo_too_large) }
            }
        }
    }

    private fun fail(number: Int, message: String) {
        session?.close()
        session = null
        tell(number) { listener.onFailure(message) }
    }

    private fun tell(number: Int, say: () -> Unit) {
        main.post { if (number == asked) say() }
    }

    /** Nothing is told after it. */
    override fun close() {
        asked++
        worker.execute {
            session?.close()
            session = null
        }
        worker.shutdown()
    }

    private companion object {
        /** How many frames the percentiles look at: some seconds. */
        const val WINDOW = 100
    }
}
