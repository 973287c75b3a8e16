plugins {
    `java-library`
}

java {
    sourceCompatibility = JavaVersion.VERSION_11
    targetCompatibility = JavaVersion.VERSION_11
}

dependencies {
    // Android has it.
    compileOnly(libs.android.json)

    testImplementation(libs.android.json)
    testImplementation(libs.junit.jupiter)
    testRuntimeOnly(libs.junit.platform.launcher)
}

tasks.withType<JavaCompile>().configureEach {
    options.release = 11
}

tasks.test {
    useJUnitPlatform()
    // Which assets to replay: ./gradlew :classifier:test -Pedgekit.assets=FOLDER
    val assets = providers.gradleProperty("edgekit.assets").orElse("../app/src/main/assets").get()
    systemProperty("edgekit.assets", assets)
    inputs.files(fileTree(assets)).withPropertyName("assets")
}
