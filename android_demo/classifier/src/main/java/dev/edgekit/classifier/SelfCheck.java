package dev.edgekit.classifier;

import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;

/** The check at start-up: does the app give what the desk gave? It answers, and never throws. */
public final class SelfCheck {
  /** What it can come to. */
  public enum Kind {
    RIGHT,
    WRONG,
    /** There are no golden vectors. */
    UNPROVEN
  }

  /** What it came to. */
  public static final class Verdict {
    public final Kind kind;

    /** A sentence for the user, with the stage that differs. */
    public final String message;

    private Verdict(Kind kind, String message) {
      this.kind = kind;
      this.message = message;
    }
  }

  private SelfCheck() {}

  /**
   * Replays golden vectors with the contract, the model and the runtime that the app uses.
   *
   * @param zip The golden vectors, or null where there are none. The caller closes it.
   */
  public static Verdict of(
      InputStream zip,
      Contract contract,
      ByteBuffer model,
      GoldenCheck.Decoder decoder,
      GoldenCheck.Model runtime) {
    if (zip == null) {
      return new Verdict(
          Kind.UNPROVEN, "There are no golden vectors: nothing proves this model here.");
    }
    try {
      Golden golden = Golden.read(zip);
      if (!golden.isOf(model)) return wrong("The golden vectors are of another model.");
      GoldenCheck.Result result = new GoldenCheck(golden, contract).run(decoder, runtime);
      if (result.isRight()) return new Verdict(Kind.RIGHT, result.message);
      return wrong("Differs in the stage " + result.stage.word() + ": " + result.message);
    } catch (ContractException error) {
      return wrong(error.getMessage());
    } catch (IOException error) {
      return wrong("The golden vectors can't be read: " + error.getMessage());
    } catch (RuntimeException error) {
      // The runtime tells its troubles so.
      return wrong("The runtime failed: " + error.getMessage());
    }
  }

  private static Verdict wrong(String message) {
    return new Verdict(Kind.WRONG, message);
  }
}
