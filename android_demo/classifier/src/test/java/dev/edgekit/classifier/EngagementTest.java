package dev.edgekit.classifier;

import static dev.edgekit.classifier.Engagement.UNKNOWN;
import static dev.edgekit.classifier.Engagement.accepted;
import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.edgekit.classifier.Engagement.Request;
import org.junit.jupiter.api.Test;

class EngagementTest {
  @Test
  void whatADelegateTook() {
    assertEquals("XNNPACK took all 64 ops.", accepted(Request.XNNPACK, 64, 1));
    assertEquals(
        "The GPU delegate took at least 60 of 64 ops; the CPU runs the others (5 steps in all).",
        accepted(Request.GPU, 64, 5));
    assertEquals(
        "NNAPI was accepted, but shows no op of 64 that it took.", accepted(Request.NNAPI, 64, 64));
  }

  /** Of n ops in parts of any size, it took at least as many as are said. */
  @Test
  void theBoundHolds() {
    int ops = 12;
    for (int pattern = 1; pattern < 1 << ops; pattern++) {
      int taken = Integer.bitCount(pattern);
      int parts = Integer.bitCount(pattern & ~(pattern << 1));
      int steps = ops - taken + parts;
      if (steps == ops || steps == 1) continue;
      String said = accepted(Request.GPU, ops, steps);
      int bound = Integer.parseInt(said.replaceAll(".*at least (\\d+) of.*", "$1"));
      assertEquals(true, bound <= taken, said);
    }
  }

  @Test
  void whatIsNotTold() {
    String wanted = "The GPU delegate was accepted; how many of 64 ops it took is not told.";
    for (int steps : new int[] {UNKNOWN, 0, 65}) {
      assertEquals(wanted, accepted(Request.GPU, 64, steps));
    }
    assertEquals(
        "XNNPACK was accepted; how many of 1 ops it took is not told.",
        accepted(Request.XNNPACK, 1, 1));
  }

  @Test
  void theCpuAlone() {
    assertEquals(
        "TFLite's own CPU kernels run all 64 ops; no delegate was asked for.",
        accepted(Request.CPU, 64, 64));
  }

  @Test
  void refusalsAndErrors() {
    assertEquals(
        "The GPU delegate was refused (no OpenCL). Instead: XNNPACK took all 64 ops.",
        Engagement.refused(Request.GPU, "no OpenCL", accepted(Request.XNNPACK, 64, 1)));
    assertEquals("", Engagement.errors(0));
    assertEquals(" NNAPI reported error 3.", Engagement.errors(3));
  }
}
