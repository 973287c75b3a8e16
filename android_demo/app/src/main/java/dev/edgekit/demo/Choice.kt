package dev.edgekit.demo

import android.os.Bundle
import dev.edgekit.classifier.Engagement.Request

/** What the user chose; it outlives a turn of the phone. */
internal data class Choice(
    /** The place in the list of models. */
    val model: Int,
    val request: Request,
    val threads: Int,
) {
    fun save(into: Bundle) {
        into.putInt(MODEL, model)
        into.putString(REQUEST, request.name)
        into.putInt(THREADS, threads)
    }

    companion object {
        val THREAD_COUNTS = listOf(1, 2, 4)

        private const val MODEL = "model"
        private const val REQUEST = "request"
        private const val THREADS = "threads"

        /** The saved choice, or the default where there is none. */
        fun restore(from: Bundle?): Choice =
            Choice(
                model = from?.getInt(MODEL) ?: 0,
                request = from?.getString(REQUEST)?.let(Request::valueOf) ?: Request.XNNPACK,
                threads = from?.getInt(THREADS) ?: 2,
            )
    }
}
