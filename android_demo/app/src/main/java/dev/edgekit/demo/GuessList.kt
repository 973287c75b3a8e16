package dev.edgekit.demo

import android.view.LayoutInflater
import android.view.View
import android.view.ViewGroup
import android.widget.ProgressBar
import android.widget.TextView
import dev.edgekit.classifier.Scores

/** The best classes with a bar each, in rows that are made once. */
internal class GuessList(private val parent: ViewGroup) {
    private class Row(val view: View) {
        val label: TextView = view.findViewById(R.id.label)
        val confidence: TextView = view.findViewById(R.id.confidence)
        val bar: ProgressBar = view.findViewById(R.id.bar)
    }

    private val rows =
        List(Session.GUESSES) {
            Row(LayoutInflater.from(parent.context).inflate(R.layout.guess, parent, false))
        }

    init {
        rows.forEach { parent.addView(it.view) }
        show(emptyList())
    }

    fun show(guesses: List<Scores.Guess>) {
        rows.forEachIndexed { place, row ->
            val guess = guesses.getOrNull(place)
            row.view.visibility = if (guess == null) View.INVISIBLE else View.VISIBLE
            if (guess != null) {
                row.label.text = guess.label
                row.confidence.text = percent(guess)
                row.bar.progress = (guess.probability * row.bar.max).toInt()
            }
        }
    }

    fun percent(guess: Scores.Guess): String =
        parent.context.getString(R.string.percent, guess.probability * 100)
}
