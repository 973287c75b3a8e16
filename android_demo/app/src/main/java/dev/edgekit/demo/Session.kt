package dev.edgekit.demo

import dev.edgekit.classifier.Classifier
import dev.edgekit.classifier.Contract
import dev.edgekit.classifier.ContractException
import dev.edgekit.classifier.ModelIndex
import dev.edgekit.classifier.Picture
import dev.edgekit.classifier.SelfCheck
import java.io.Closeable

/** A model that is loaded and checked. Opened, used and closed on one thread. */
internal class Session private constructor(
    private val runtime: Runtime,
    private val classifier: Classifier,
    val engagement: String,
    val verdict: SelfCheck.Verdict,
) : Closeable {
    fun classify(picture: Picture): Classifier.Answer = classifier.classify(picture, GUESSES)

    override fun close() = runtime.close()

    companion object {
        /** How many classes are shown. */
        const val GUESSES = 5

        /**
         * Loads a model and replays its golden vectors with the delegate that was chosen.
         *
         * @throws ContractException A file of the model can't be used.
         * @throws RuntimeException The runtime can't run the model.
         */
        fun open(store: ModelStore, entry: ModelIndex.Entry, choice: Choice): Session {
            val model = store.map(entry.model)
            entry.check(model)
            val contract = Contract.parse(store.text(entry.contract))
            val runtime = Runtime.open(model, entry.ops, choice.request, choice.threads)
            try {
                val classifier = Classifier(contract, runtime.input, runtime.output, runtime)
                val golden = entry.golden?.let(store::open)
                val verdict =
                    golden.use { SelfCheck.of(it, contract, model, ::decodePng, runtime) }
                return Session(runtime, classifier, runtime.engagement(), verdict)
            } catch (error: Throwable) {
                runtime.close()
                throw error
            }
        }
    }
}
