import dev.edgekit.classifier.Contract;
import dev.edgekit.classifier.ContractException;
import dev.edgekit.classifier.Fit;
import dev.edgekit.classifier.Golden;
import dev.edgekit.classifier.GoldenCheck;
import dev.edgekit.classifier.InputTable;
import dev.edgekit.classifier.LatencyStatistics;
import dev.edgekit.classifier.Orientation;
import dev.edgekit.classifier.Picture;
import dev.edgekit.classifier.Scores;
import dev.edgekit.classifier.TensorSpec;
import java.awt.image.BufferedImage;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.stream.Stream;
import javax.imageio.ImageIO;
import org.json.JSONArray;
import org.json.JSONObject;

/** Lets Python drive the engine: it reads and writes files, and prints JSON. */
public final class Harness {
  public static void main(String[] arguments) throws Exception {
    Path place = Path.of(arguments[1]);
    switch (arguments[0]) {
      case "prepare":
        try (Stream<Path> found = Files.list(place)) {
          for (Path path : (Iterable<Path>) found.filter(Harness::isCase)::iterator) prepare(path);
        }
        break;
      case "verify":
        System.out.println(verify(place, Path.of(arguments[2])));
        break;
      case "scores":
        System.out.println(scores(new JSONObject(Files.readString(place))));
        break;
      default:
        throw new IllegalArgumentException(arguments[0]);
    }
  }

  private static boolean isCase(Path path) {
    return path.toString().endsWith(".json");
  }

  /** NAME.json and NAME.rgb -> NAME.fitted and NAME.input. */
  private static void prepare(Path path) throws Exception {
    JSONObject given = new JSONObject(Files.readString(path));
    Path stem = Path.of(path.toString().replaceAll("\\.json$", ""));
    Contract contract = Contract.parse(given.getString("contract"));
    Picture stored =
        new Picture(
            given.getInt("width"), given.getInt("height"), Files.readAllBytes(end(stem, "rgb")));
    Picture picture = Orientation.upright(stored, given.getInt("orientation"));
    Picture fitted = Fit.toInput(picture, contract);
    TensorSpec input = spec(given, 3 * contract.width * contract.height);
    ByteBuffer bytes = ByteBuffer.allocate(input.size * input.type.bytes);
    new InputTable(contract, input).write(fitted, bytes);
    Files.write(end(stem, "fitted"), fitted.rgb);
    Files.write(end(stem, "input"), bytes.array());
  }

  /** Replays golden vectors; the model is one that gives what NAME.output in a folder holds. */
  private static JSONObject verify(Path zip, Path folder) throws Exception {
    JSONObject said = new JSONObject();
    try {
      Golden golden = Golden.read(Files.newInputStream(zip));
      Path model = folder.resolve("model.tflite");
      if (Files.exists(model)) said.put("of_model", golden.isOf(ByteBuffer.wrap(Files.readAllBytes(model))));
      int[] at = {0};
      GoldenCheck.Model runtime =
          input -> {
            Path output = folder.resolve(golden.vectors.get(at[0]++).name + ".output");
            try {
              return ByteBuffer.wrap(Files.readAllBytes(output)).order(ByteOrder.nativeOrder());
            } catch (IOException error) {
              throw new IllegalStateException(error);
            }
          };
      GoldenCheck.Result result = new GoldenCheck(golden).run(Harness::decode, runtime);
      said.put("stage", result.isRight() ? JSONObject.NULL : result.stage.name());
      said.put("message", result.message);
    } catch (ContractException error) {
      said.put("refused", error.getMessage());
    }
    return said;
  }

  private static JSONObject scores(JSONObject given) throws Exception {
    Contract contract = Contract.parse(given.getString("contract"));
    JSONArray bytes = given.getJSONArray("output");
    ByteBuffer output = ByteBuffer.allocate(bytes.length());
    for (int i = 0; i < bytes.length(); i++) output.put((byte) bytes.getInt(i));
    TensorSpec spec = spec(given, given.getInt("size"));
    float[] probabilities = Scores.probabilities(Scores.read(output, spec), contract);
    JSONArray top = new JSONArray();
    for (Scores.Guess guess : Scores.top(probabilities, contract, 3)) {
      top.put(new JSONArray().put(guess.index).put(guess.label).put(guess.probability));
    }
    LatencyStatistics latencies = new LatencyStatistics(given.getInt("window"));
    JSONArray milliseconds = given.getJSONArray("milliseconds");
    for (int i = 0; i < milliseconds.length(); i++) latencies.add(milliseconds.getLong(i) * 1000000);
    return new JSONObject()
        .put("top", top)
        .put("p50", latencies.percentile(50))
        .put("p90", latencies.percentile(90))
        .put("count", latencies.count());
  }

  private static TensorSpec spec(JSONObject given, int size) throws Exception {
    TensorSpec.Type type = TensorSpec.Type.valueOf(given.getString("dtype").toUpperCase());
    float scale = (float) given.getDouble("scale");
    return new TensorSpec(type, size, scale, given.getInt("zero_point"));
  }

  private static Picture decode(byte[] png) throws ContractException {
    try {
      BufferedImage image = ImageIO.read(new ByteArrayInputStream(png));
      if (image == null) throw new ContractException("no picture");
      int width = image.getWidth();
      int height = image.getHeight();
      return Picture.ofArgb(width, height, image.getRGB(0, 0, width, height, null, 0, width));
    } catch (IOException error) {
      throw new ContractException("a picture can't be decoded", error);
    }
  }

  private static Path end(Path stem, String ending) {
    return Path.of(stem + "." + ending);
  }
}
