package dev.edgekit.classifier;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;

/**
 * Replays the golden vectors of the models that were bundled: decoding, fitting and the input, byte
 * for byte. There is no runtime here; that is for the phone. In its place stands what the desk's
 * runtime gave, so what the scores mean is checked too.
 *
 * <p>The folder of assets is the system property {@code edgekit.assets}.
 */
class BundleTest {
  private static final Path MODELS =
      Path.of(System.getProperty("edgekit.assets", "../app/src/main/assets"), "models");

  @TestFactory
  Stream<DynamicTest> everyModel() throws IOException, ContractException {
    Path index = MODELS.resolve("index.json");
    assumeTrue(
        Files.exists(index), "no models in " + MODELS + ": edgekit bundle android puts them there");
    List<ModelIndex.Entry> entries = ModelIndex.parse(Files.readString(index));
    return entries.stream().map(BundleTest::test);
  }

  private static DynamicTest test(ModelIndex.Entry entry) {
    return DynamicTest.dynamicTest(entry.name, () -> replay(entry));
  }

  private static void replay(ModelIndex.Entry entry) throws IOException, ContractException {
    ByteBuffer model = map(MODELS.resolve(entry.model));
    entry.check(model);
    Contract contract = Contract.parse(Files.readString(MODELS.resolve(entry.contract)));
    assumeTrue(entry.golden != null, "no golden vectors: nothing proves " + entry.name);
    Path zip = MODELS.resolve(entry.golden);
    Golden golden;
    try (InputStream in = Files.newInputStream(zip)) {
      golden = Golden.read(in);
    }
    int[] at = {0};
    GoldenCheck.Model desk = input -> ByteBuffer.wrap(golden.vectors.get(at[0]++).output);
    try (InputStream in = Files.newInputStream(zip)) {
      SelfCheck.Verdict verdict = SelfCheck.of(in, contract, model, PngDecoder::decode, desk);
      assertEquals(SelfCheck.Kind.RIGHT, verdict.kind, verdict.message);
    }
    assertEquals(golden.vectors.size(), at[0]);
    for (Golden.Vector vector : golden.vectors) answer(vector, golden, contract);
  }

  /** The class that must be given is the best one, with a probability. */
  private static void answer(Golden.Vector vector, Golden golden, Contract contract)
      throws ContractException {
    GoldenCheck.Model desk = input -> ByteBuffer.wrap(vector.output);
    Classifier classifier = new Classifier(contract, golden.input, golden.output, desk);
    Classifier.Answer answer = classifier.classify(PngDecoder.decode(vector.picture), 1);
    Scores.Guess best = answer.guesses.get(0);
    assertTrue(best.probability > 0 && best.probability <= 1, vector.name);
    if (vector.answer >= 0) assertEquals(vector.answer, best.index, vector.name);
  }

  private static ByteBuffer map(Path file) throws IOException {
    try (FileChannel channel = FileChannel.open(file)) {
      return channel.map(FileChannel.MapMode.READ_ONLY, 0, channel.size());
    }
  }
}
