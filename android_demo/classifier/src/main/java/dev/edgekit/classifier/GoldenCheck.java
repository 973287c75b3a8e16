package dev.edgekit.classifier;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import java.util.Locale;

/** Replays golden vectors and names the stage that differs: what the app does when it starts. */
public final class GoldenCheck {
  /** The stages in their order. */
  public enum Stage {
    DECODE,
    FIT,
    INPUT,
    INFERENCE;

    /** As edgekit's documents call it. */
    String word() {
      return name().toLowerCase(Locale.ROOT);
    }
  }

  /** Decodes a PNG file; the platform does it. */
  public interface Decoder {
    Picture decode(byte[] png) throws ContractException;
  }

  /** Runs the model on an input's bytes and gives its output's; null where there is no runtime. */
  public interface Model {
    ByteBuffer run(ByteBuffer input);
  }

  /** What came out. */
  public static final class Result {
    /** The first stage that differs, or null where all is right. */
    public final Stage stage;

    /** A sentence for the user. */
    public final String message;

    Result(Stage stage, String message) {
      this.stage = stage;
      this.message = message;
    }

    public boolean isRight() {
      return stage == null;
    }
  }

  /** By how many steps a score may differ from that of the desk: see edgekit's docs/verify.md. */
  public static final float STEPS = 3;

  private final Golden golden;
  private final Contract contract;
  private final InputTable table;

  /** With the contract that the golden vectors were made with. */
  public GoldenCheck(Golden golden) throws ContractException {
    this(golden, golden.contract);
  }

  /** With the contract that an app uses: so an edited one shows. */
  public GoldenCheck(Golden golden, Contract contract) throws ContractException {
    this.golden = golden;
    this.contract = contract;
    this.table = new InputTable(contract, golden.input);
  }

  /** Replays all vectors; the first fault ends it. */
  public Result run(Decoder decoder, Model model) throws ContractException {
    for (Golden.Vector vector : golden.vectors) {
      Result result = check(vector, decoder, model);
      if (!result.isRight()) return result;
    }
    return new Result(null, golden.vectors.size() + " pictures give what they gave on the desk.");
  }

  private Result check(Golden.Vector vector, Decoder decoder, Model model)
      throws ContractException {
    Picture picture = decoder.decode(vector.picture);
    if (!sha256(picture).equals(vector.decodedSha256)) {
      return differs(Stage.DECODE, vector, "the decoded picture has other pixels");
    }
    Picture fitted = Fit.toInput(picture, contract);
    if (!sha256(fitted).equals(vector.fittedSha256)) {
      return differs(Stage.FIT, vector, "the fitted picture has other pixels");
    }
    byte[] input = new byte[vector.input.length];
    table.write(fitted, ByteBuffer.wrap(input));
    if (!Arrays.equals(input, vector.input)) {
      return differs(Stage.INPUT, vector, "the model's input has other bytes");
    }
    if (model == null) return new Result(null, "");
    ByteBuffer direct = ByteBuffer.allocateDirect(input.length).order(ByteOrder.nativeOrder());
    direct.put(input);
    Buffers.rewind(direct);
    return compare(vector, Scores.read(model.run(direct), golden.output));
  }

  private Result compare(Golden.Vector vector, float[] scores) {
    float[] wanted = Scores.read(ByteBuffer.wrap(vector.output), golden.output);
    float step = golden.output.isQuantized() ? golden.output.scale : span(wanted) / 255;
    float most = 0;
    for (int i = 0; i < wanted.length; i++) {
      float steps = Math.abs(scores[i] - wanted[i]) / (step > 0 ? step : 1);
      // Not `Math.max`: a NaN is the worst of all.
      most = steps <= most ? most : steps;
    }
    if (!(most <= STEPS + 1e-3f)) {
      return differs(
          Stage.INFERENCE, vector, String.format(Locale.ROOT, "a score is %.1f steps off", most));
    }
    int answer = best(scores);
    if (vector.answer >= 0 && answer != vector.answer) {
      return differs(
          Stage.INFERENCE,
          vector,
          "it is taken for "
              + golden.contract.label(answer)
              + ", not for "
              + golden.contract.label(vector.answer));
    }
    return new Result(null, "");
  }

  private static String sha256(Picture picture) {
    return Golden.sha256(ByteBuffer.wrap(picture.rgb), picture.rgb.length);
  }

  private static Result differs(Stage stage, Golden.Vector vector, String how) {
    return new Result(stage, vector.name + ": " + how + ".");
  }

  private static float span(float[] values) {
    float low = Float.POSITIVE_INFINITY;
    float high = Float.NEGATIVE_INFINITY;
    for (float value : values) {
      low = Math.min(low, value);
      high = Math.max(high, value);
    }
    return high - low;
  }

  private static int best(float[] scores) {
    int best = 0;
    for (int i = 1; i < scores.length; i++) if (scores[i] > scores[best]) best = i;
    return best;
  }
}
