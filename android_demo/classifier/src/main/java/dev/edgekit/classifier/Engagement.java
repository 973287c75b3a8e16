package dev.edgekit.classifier;

/**
 * Says what really runs a model, not what was asked for. The runtime tells how many steps its plan
 * has; every part of the graph that a delegate took is one step of it. Which processor a delegate
 * used in the end is not told, so nothing is said of it.
 */
public final class Engagement {
  /** What the user asks for. */
  public enum Request {
    XNNPACK("XNNPACK"),
    CPU("The CPU"),
    GPU("The GPU delegate"),
    NNAPI("NNAPI");

    private final String subject;

    Request(String subject) {
      this.subject = subject;
    }
  }

  /** The runtime doesn't tell its plan's length. */
  public static final int UNKNOWN = -1;

  private Engagement() {}

  /**
   * A sentence about a request that was accepted.
   *
   * @param ops All operators in the model.
   * @param steps The length of the runtime's plan, or {@link #UNKNOWN}.
   */
  public static String accepted(Request request, int ops, int steps) {
    if (request == Request.CPU) {
      return "TFLite's own CPU kernels run all " + ops + " ops; no delegate was asked for.";
    }
    // A plan of one step for a graph of one op may be either.
    if (steps < 1 || steps > ops || ops == 1) {
      return request.subject + " was accepted; how many of " + ops + " ops it took is not told.";
    }
    if (steps == ops) {
      return request.subject + " was accepted, but shows no op of " + ops + " that it took.";
    }
    if (steps == 1) return request.subject + " took all " + ops + " ops.";
    // ops - taken + parts = steps, of at least one part.
    return String.format(
        "%s took at least %d of %d ops; the CPU runs the others (%d steps in all).",
        request.subject, ops - steps + 1, ops, steps);
  }

  /** A sentence about a request that the device or the runtime refused, and what came instead. */
  public static String refused(Request request, String reason, String instead) {
    return request.subject + " was refused (" + reason + "). Instead: " + instead;
  }

  /** The last error that NNAPI reported; an empty text where there was none. */
  public static String errors(int errno) {
    return errno == 0 ? "" : " NNAPI reported error " + errno + ".";
  }
}
