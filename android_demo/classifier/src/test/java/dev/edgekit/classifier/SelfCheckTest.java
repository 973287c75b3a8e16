package dev.edgekit.classifier;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.util.Arrays;
import org.json.JSONArray;
import org.json.JSONException;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Whatever the assets hold, the check comes to a sentence. */
class SelfCheckTest {
  private TinyModel tiny;
  private Contract contract;

  @BeforeEach
  void make() throws Exception {
    tiny = new TinyModel();
    contract = tiny.parsed();
  }

  private SelfCheck.Verdict check(InputStream zip, GoldenCheck.Model runtime) {
    return SelfCheck.of(zip, contract, tiny.bytes, PngDecoder::decode, runtime);
  }

  private void assertWrong(String said) throws IOException {
    assertWrong(check(tiny.golden(), tiny), said);
  }

  private static void assertWrong(SelfCheck.Verdict verdict, String said) {
    assertEquals(SelfCheck.Kind.WRONG, verdict.kind, verdict.message);
    assertTrue(verdict.message.contains(said), verdict.message);
  }

  @Test
  void right() throws IOException {
    SelfCheck.Verdict verdict = check(tiny.golden(), tiny);
    assertEquals(SelfCheck.Kind.RIGHT, verdict.kind, verdict.message);
    assertEquals("1 pictures give what they gave on the desk.", verdict.message);
  }

  @Test
  void withoutGoldenVectors() {
    SelfCheck.Verdict verdict = check(null, tiny);
    assertEquals(SelfCheck.Kind.UNPROVEN, verdict.kind);
    assertTrue(verdict.message.contains("nothing proves this model"), verdict.message);
  }

  @Test
  void ofAnotherModel() throws IOException {
    ByteBuffer other = ByteBuffer.wrap(new byte[100]);
    assertWrong(
        SelfCheck.of(tiny.golden(), contract, other, PngDecoder::decode, tiny), "another model");
  }

  @Test
  void aZipThatEndsAnywhere() throws IOException {
    byte[] zip = tiny.zip();
    // Behind the entries stands the directory, which a stream doesn't need.
    for (int length = 0; length < zip.length; length++) {
      SelfCheck.Verdict verdict =
          check(new ByteArrayInputStream(Arrays.copyOf(zip, length)), tiny);
      if (verdict.kind == SelfCheck.Kind.RIGHT) continue;
      assertWrong(verdict, "golden");
    }
    assertWrong(check(new ByteArrayInputStream(Arrays.copyOf(zip, zip.length / 2)), tiny), "");
  }

  @Test
  void aZipWithAnyByteChanged() throws IOException {
    byte[] zip = tiny.zip();
    for (int i = 0; i < zip.length; i++) {
      byte[] changed = zip.clone();
      changed[i] ^= 0x55;
      SelfCheck.Verdict verdict = check(new ByteArrayInputStream(changed), tiny);
      assertTrue(verdict.message.length() > 10, verdict.message);
    }
  }

  @Test
  void aPictureThatIsNone() throws IOException {
    tiny.files.put("card.png", new byte[50]);
    assertWrong("can't be decoded");
  }

  @Test
  void ofANewerSchema() throws IOException, JSONException {
    tiny.index.put("schema", 2);
    assertWrong("schema 2");
  }

  @Test
  void withTensorsThatMakeNoSense() throws IOException, JSONException {
    tiny.index.getJSONObject("input").put("dtype", "int4");
    assertWrong("int4");
    tiny.index.getJSONObject("input").put("dtype", "int8");
    tiny.index.getJSONObject("input").put("shape", new JSONArray("[1, 70000, 70000]"));
    assertWrong("A tensor of");
  }

  /** The app uses its contract file, so that is what has to be checked. */
  @Test
  void withAnEditedContract() throws Exception {
    tiny.contract.put("colour_order", "BGR");
    contract = tiny.parsed();
    tiny.contract.put("colour_order", "RGB");
    assertWrong("in the stage input: card:");
  }

  @Test
  void withARuntimeThatFails() throws IOException {
    GoldenCheck.Model failing =
        input -> {
          throw new IllegalStateException("out of GPU memory");
        };
    assertWrong(check(tiny.golden(), failing), "The runtime failed: out of GPU memory");
  }

  @Test
  void withARuntimeThatIsOff() throws IOException {
    GoldenCheck.Model off =
        input -> {
          ByteBuffer scores = tiny.run(input);
          return scores.put(0, (byte) (scores.get(0) + 4));
        };
    assertWrong(
        check(tiny.golden(), off), "in the stage inference: card: a score is 4.0 steps off");
  }

  @Test
  void withAStreamThatBreaks() {
    InputStream broken =
        new InputStream() {
          @Override
          public int read() throws IOException {
            throw new IOException("broken");
          }
        };
    assertWrong(check(broken, tiny), "can't be read: broken");
  }
}
