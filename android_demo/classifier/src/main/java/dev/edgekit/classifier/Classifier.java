package dev.edgekit.classifier;

import java.nio.ByteBuffer;
import java.util.List;

/** A model with its contract: pictures in, classes out. One thread uses it. */
public final class Classifier {
  /** What came out for one picture. */
  public static final class Answer {
    /** The likeliest classes first. */
    public final List<Scores.Guess> guesses;

    /** What the model was shown. */
    public final Picture fitted;

    public final long preparationNanoseconds;
    public final long inferenceNanoseconds;

    private Answer(List<Scores.Guess> guesses, Picture fitted, long preparation, long inference) {
      this.guesses = guesses;
      this.fitted = fitted;
      this.preparationNanoseconds = preparation;
      this.inferenceNanoseconds = inference;
    }
  }

  private final Contract contract;
  private final TensorSpec output;
  private final GoldenCheck.Model model;
  private final InputTable table;
  private final ByteBuffer bytes;

  /**
   * @throws ContractException The model takes or gives other tensors than the contract says.
   */
  public Classifier(
      Contract contract, TensorSpec input, TensorSpec output, GoldenCheck.Model model)
      throws ContractException {
    if (!contract.labels.isEmpty() && contract.labels.size() != output.size) {
      throw new ContractException(
          "The model gives "
              + output.size
              + " scores, the contract names "
              + contract.labels.size()
              + " classes.");
    }
    this.contract = contract;
    this.output = output;
    this.model = model;
    table = new InputTable(contract, input);
    bytes = ByteBuffer.allocateDirect(input.size * input.type.bytes);
  }

  /** The best {@code count} classes of an upright picture. */
  public Answer classify(Picture picture, int count) {
    long start = System.nanoTime();
    Picture fitted = Fit.toInput(picture, contract);
    table.write(fitted, bytes);
    long prepared = System.nanoTime();
    ByteBuffer scores = model.run(bytes);
    long done = System.nanoTime();
    float[] probabilities = Scores.probabilities(Scores.read(scores, output), contract);
    return new Answer(
        Scores.top(probabilities, contract, count), fitted, prepared - start, done - prepared);
  }
}
