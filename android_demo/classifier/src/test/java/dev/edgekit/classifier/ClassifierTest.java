package dev.edgekit.classifier;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.json.JSONArray;
import org.junit.jupiter.api.Test;

class ClassifierTest {
  @Test
  void theBestClasses() throws Exception {
    TinyModel tiny = new TinyModel();
    Classifier classifier =
        new Classifier(tiny.parsed(), TinyModel.INPUT, TinyModel.OUTPUT, tiny);
    Classifier.Answer answer = classifier.classify(TinyModel.picture(), 2);
    // Scores half a grey level apart: 10, 11 and 12 of the first pixel, times 0.5.
    assertEquals(2, answer.guesses.size());
    assertEquals("c", answer.guesses.get(0).label);
    assertEquals("b", answer.guesses.get(1).label);
    double total = 1 + Math.exp(-0.5) + Math.exp(-1);
    assertEquals(1 / total, answer.guesses.get(0).probability, 1e-6);
    assertEquals(2, answer.fitted.width);
    assertTrue(answer.preparationNanoseconds > 0 && answer.inferenceNanoseconds > 0);
  }

  @Test
  void aModelThatIsNotTheContracts() throws Exception {
    TinyModel tiny = new TinyModel();
    Contract contract = tiny.parsed();
    TensorSpec four = new TensorSpec(TensorSpec.Type.INT8, 4, 1, 0);
    assertThrows(
        ContractException.class, () -> new Classifier(contract, TinyModel.INPUT, four, tiny));
    assertThrows(
        ContractException.class, () -> new Classifier(contract, four, TinyModel.OUTPUT, tiny));
    tiny.contract.put("labels", new JSONArray());
    new Classifier(tiny.parsed(), TinyModel.INPUT, four, tiny); // its classes have numbers
  }

  @Test
  void typesOfTensors() throws Exception {
    assertEquals(TensorSpec.Type.INT8, TensorSpec.Type.of("INT8"));
    assertEquals(TensorSpec.Type.FLOAT32, TensorSpec.Type.of("float32"));
    assertThrows(ContractException.class, () -> TensorSpec.Type.of("INT16"));
  }

  @Test
  void framesPerSecond() {
    FrameRate rate = new FrameRate(3);
    assertTrue(Double.isNaN(rate.perSecond()));
    rate.add(0);
    assertTrue(Double.isNaN(rate.perSecond()));
    rate.add(500_000_000);
    assertEquals(2, rate.perSecond(), 1e-9);
    rate.add(600_000_000);
    rate.add(700_000_000); // the first is forgotten
    assertEquals(10, rate.perSecond(), 1e-9);
  }

  @Test
  void onlyTheLatestIsHandedOver() {
    Latest<String> latest = new Latest<>();
    assertNull(latest.take());
    assertTrue(latest.offer("a"));
    assertFalse(latest.offer("b"));
    assertEquals("b", latest.take());
    assertNull(latest.take());
    assertTrue(latest.offer("c"));
  }
}
