package dev.edgekit.classifier;

import java.awt.image.BufferedImage;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.zip.ZipEntry;
import java.util.zip.ZipOutputStream;
import javax.imageio.ImageIO;
import org.json.JSONArray;
import org.json.JSONException;
import org.json.JSONObject;

/**
 * A stand-in for a model of 2 x 2 pixels and three classes, with golden vectors that a test may
 * damage. It gives the first three values of its input.
 */
final class TinyModel implements GoldenCheck.Model {
  static final TensorSpec INPUT = new TensorSpec(TensorSpec.Type.INT8, 12, 1, -128);
  static final TensorSpec OUTPUT = new TensorSpec(TensorSpec.Type.INT8, 3, 0.5f, -7);
  private static final int[] PIXELS = {0xff0a0b0c, 0xff141516, 0xff1e1f20, 0xff28292a};

  final ByteBuffer bytes = ByteBuffer.wrap("a model".getBytes(StandardCharsets.UTF_8));
  final JSONObject contract = new JSONObject();
  final JSONObject index = new JSONObject();

  /** All files of the zip but golden.json. */
  final Map<String, byte[]> files = new LinkedHashMap<>();

  TinyModel() throws JSONException, IOException {
    contract.put("height", 2).put("width", 2);
    contract.put("mean", new JSONArray("[0, 0, 0]")).put("std", new JSONArray("[1, 1, 1]"));
    contract.put("colour_order", "RGB").put("fit", "stretch").put("crop_fraction", 1);
    contract.put("interpolation", "exact").put("output", "logits");
    contract.put("labels", new JSONArray("[\"a\", \"b\", \"c\"]"));
    Picture picture = picture();
    byte[] input = new byte[12];
    for (int i = 0; i < input.length; i++) input[i] = (byte) ((picture.rgb[i] & 0xff) - 128);
    files.put("card.png", png());
    files.put("card.input", input);
    files.put("card.output", new byte[] {input[0], input[1], input[2]});
    String sha256 = Golden.sha256(ByteBuffer.wrap(picture.rgb), 12);
    JSONObject vector = new JSONObject().put("name", "card").put("answer", 2);
    vector.put("decoded_sha256", sha256).put("fitted_sha256", sha256);
    JSONObject model = new JSONObject().put("graph_bytes", bytes.capacity());
    model.put("graph_sha256", Golden.sha256(bytes, bytes.capacity()));
    index.put("schema", 1).put("model", model).put("contract", contract);
    index.put("input", tensor(INPUT, "[1, 2, 2, 3]")).put("output", tensor(OUTPUT, "[1, 3]"));
    index.put("vectors", new JSONArray().put(vector));
  }

  static Picture picture() {
    return Picture.ofArgb(2, 2, PIXELS);
  }

  Contract parsed() throws JSONException, ContractException {
    return Contract.parse(document(1).toString());
  }

  /** A contract as it stands in a file, of some schema. */
  JSONObject document(int schema) throws JSONException {
    return new JSONObject().put("schema", schema).put("contract", contract);
  }

  byte[] zip() throws IOException {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    try (ZipOutputStream zip = new ZipOutputStream(bytes)) {
      add(zip, "golden.json", index.toString().getBytes(StandardCharsets.UTF_8));
      for (Map.Entry<String, byte[]> file : files.entrySet()) {
        add(zip, file.getKey(), file.getValue());
      }
    }
    return bytes.toByteArray();
  }

  InputStream golden() throws IOException {
    return new ByteArrayInputStream(zip());
  }

  @Override
  public ByteBuffer run(ByteBuffer input) {
    ByteBuffer scores = ByteBuffer.allocate(3);
    for (int i = 0; i < 3; i++) scores.put(i, input.get(i));
    return scores;
  }

  private static void add(ZipOutputStream zip, String name, byte[] content) throws IOException {
    zip.putNextEntry(new ZipEntry(name));
    zip.write(content);
    zip.closeEntry();
  }

  private static byte[] png() throws IOException {
    BufferedImage image = new BufferedImage(2, 2, BufferedImage.TYPE_INT_RGB);
    image.setRGB(0, 0, 2, 2, PIXELS, 0, 2);
    ByteArrayOutputStream png = new ByteArrayOutputStream();
    ImageIO.write(image, "png", png);
    return png.toByteArray();
  }

  private static JSONObject tensor(TensorSpec spec, String shape) throws JSONException {
    JSONObject values = new JSONObject().put("dtype", "int8").put("shape", new JSONArray(shape));
    return values.put("scale", spec.scale).put("zero_point", spec.zeroPoint);
  }
}
