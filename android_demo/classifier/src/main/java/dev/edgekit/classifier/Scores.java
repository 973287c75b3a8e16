package dev.edgekit.classifier;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;

/** What a model's output means: probabilities, and the best classes. */
public final class Scores {
  /** One class and how sure the model is of it. */
  public static final class Guess {
    public final int index;
    public final String label;

    /** 0 to 1. */
    public final float probability;

    Guess(int index, String label, float probability) {
      this.index = index;
      this.label = label;
      this.probability = probability;
    }
  }

  private Scores() {}

  /** Real values of an output's bytes. */
  public static float[] read(ByteBuffer output, TensorSpec spec) {
    ByteBuffer bytes = output.duplicate().order(ByteOrder.nativeOrder());
    Buffers.rewind(bytes);
    float[] scores = new float[spec.size];
    for (int i = 0; i < scores.length; i++) {
      switch (spec.type) {
        case FLOAT32:
          scores[i] = bytes.getFloat();
          break;
        case INT8:
          scores[i] = (bytes.get() - spec.zeroPoint) * spec.scale;
          break;
        default:
          scores[i] = ((bytes.get() & 0xff) - spec.zeroPoint) * spec.scale;
      }
    }
    return scores;
  }

  /** Probabilities; logits go through a softmax. */
  public static float[] probabilities(float[] scores, Contract contract) {
    if (contract.givesProbabilities) return scores.clone();
    double highest = Double.NEGATIVE_INFINITY;
    for (float score : scores) highest = Math.max(highest, score);
    double total = 0;
    double[] powers = new double[scores.length];
    for (int i = 0; i < scores.length; i++) {
      powers[i] = Math.exp(scores[i] - highest);
      total += powers[i];
    }
    float[] result = new float[scores.length];
    for (int i = 0; i < result.length; i++) result[i] = (float) (powers[i] / total);
    return result;
  }

  /** The likeliest classes first; of equal ones the lower index. */
  public static List<Guess> top(float[] probabilities, Contract contract, int count) {
    List<Integer> order = new ArrayList<>();
    for (int i = 0; i < probabilities.length; i++) order.add(i);
    Collections.sort(order, (a, b) -> Float.compare(probabilities[b], probabilities[a]));
    List<Guess> guesses = new ArrayList<>();
    for (int index : order.subList(0, Math.min(count, order.size()))) {
      guesses.add(new Guess(index, contract.label(index), probabilities[index]));
    }
    return guesses;
  }
}
