package dev.edgekit.demo

import dev.edgekit.classifier.Engagement
import dev.edgekit.classifier.Engagement.Request
import dev.edgekit.classifier.GoldenCheck
import dev.edgekit.classifier.TensorSpec
import java.io.Closeable
import java.nio.ByteBuffer
import java.nio.ByteOrder
import org.tensorflow.lite.Delegate
import org.tensorflow.lite.Interpreter
import org.tensorflow.lite.Tensor
import org.tensorflow.lite.gpu.GpuDelegate
import org.tensorflow.lite.gpu.GpuDelegateFactory
import org.tensorflow.lite.nnapi.NnApiDelegate

/**
 * An interpreter with its delegate. Created, used and closed on one thread, to which the GPU
 * delegate is bound.
 */
internal class Runtime private constructor(
    private val interpreter: Interpreter,
    private val delegate: Delegate?,
    /** What really runs the model. */
    private val engagement: String,
) : GoldenCheck.Model, Closeable {
    val input: TensorSpec = spec(interpreter.getInputTensor(0))
    val output: TensorSpec = spec(interpreter.getOutputTensor(0))

    private val scores = directBuffer(output)

    override fun run(input: ByteBuffer): ByteBuffer {
        // The interpreter moves the position of what it writes into.
        interpreter.run(input, scores.duplicate())
        return scores
    }

    /** What really runs the model, with the last error that NNAPI reported. */
    fun engagement(): String =
        engagement + Engagement.errors((delegate as? NnApiDelegate)?.nnapiErrno ?: 0)

    override fun close() {
        interpreter.close()
        delegate?.close()
    }

    companion object {
        /**
         * Runs the model as asked for. Where a delegate is refused, the CPU runs it, and
         * [engagement] says so.
         *
         * @throws RuntimeException The CPU can't run it either.
         */
        fun open(model: ByteBuffer, ops: Int, request: Request, threads: Int): Runtime =
            try {
                attempt(model, ops, request, threads) { it }
            } catch (error: RuntimeException) {
                instead(model, ops, request, threads, error)
            } catch (error: LinkageError) {
                // A native library that this device's processor or system has not.
                instead(model, ops, request, threads, error)
            }

        private fun instead(
            model: ByteBuffer,
            ops: Int,
            request: Request,
            threads: Int,
            error: Throwable,
        ): Runtime {
            if (request == Request.XNNPACK) throw error
            val reason = error.message?.trim() ?: error.javaClass.simpleName
            return attempt(model, ops, Request.XNNPACK, threads) {
                Engagement.refused(request, reason, it)
            }
        }

        private fun attempt(
            model: ByteBuffer,
            ops: Int,
            request: Request,
            threads: Int,
            say: (String) -> String,
        ): Runtime {
            var delegate: Delegate? = null
            var interpreter: Interpreter? = null
            try {
                delegate = delegate(request)
                // With another delegate XNNPACK would take a share of its own, and the plan would
                // not tell whose it is.
                val options =
                    Interpreter.Options()
                        .setNumThreads(threads)
                        .setUseXNNPACK(request == Request.XNNPACK)
                if (delegate != null) options.addDelegate(delegate)
                interpreter = Interpreter(model, options)
                val said = say(Engagement.accepted(request, ops, planLength(interpreter)))
                val runtime = Runtime(interpreter, delegate, said)
                // Some delegates give up only when they run.
                runtime.run(directBuffer(runtime.input))
                return runtime
            } catch (error: Throwable) {
                interpreter?.close()
                delegate?.close()
                throw error
            }
        }

        private fun delegate(request: Request): Delegate? =
            when (request) {
                Request.GPU -> GpuDelegate(GpuDelegateFactory.Options())
                Request.NNAPI -> NnApiDelegate()
                Request.XNNPACK, Request.CPU -> null
            }

        /** The interpreter has no public method that tells. */
        private fun planLength(interpreter: Interpreter): Int {
            var type: Class<*>? = interpreter.javaClass
            while (type != null) {
                try {
                    val method = type.getDeclaredMethod("getExecutionPlanLength")
                    method.isAccessible = true
                    return method.invoke(interpreter) as Int
                } catch (_: NoSuchMethodException) {
                    type = type.superclass
                } catch (_: ReflectiveOperationException) {
                    return Engagement.UNKNOWN
                }
            }
            return Engagement.UNKNOWN
        }

        private fun spec(tensor: Tensor): TensorSpec {
            val quantization = tensor.quantizationParams()
            return TensorSpec(
                TensorSpec.Type.of(tensor.dataType().name),
                tensor.numElements(),
                quantization.scale,
                quantization.zeroPoint,
            )
        }

        private fun directBuffer(spec: TensorSpec): ByteBuffer =
            ByteBuffer.allocateDirect(spec.size * spec.type.bytes).order(ByteOrder.nativeOrder())
    }
}
