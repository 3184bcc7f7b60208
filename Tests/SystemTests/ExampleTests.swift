import Testing

extension SystemTests {
    /// What does not need a broker of its own; the other example is run by `make demo`.
    @Suite("The examples")
    struct ExampleTests {
        @Test("words are counted by stages of one process", .timeLimit(.minutes(1)))
        func wordCount() throws {
            // More lines than the first stage is asked for, each of more words than the second is.
            let line = String(repeating: "one two two three, Three. THREE! ", count: 200)
            let text = Array(String(repeating: line + "\n", count: 40).utf8)
            let outcome = try Running(Place.program("word-count"), [], input: text).wait()
            #expect(outcome.code == 0, "\(outcome.errors)")
            #expect(outcome.lines == ["24000 three", "16000 two", "8000 one"])
        }
    }
}
