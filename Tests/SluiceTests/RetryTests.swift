import Sluice
import Testing

@Suite struct RetryTests {
    @Test("A wait that was told is waited for, and up to half of it more, drawn at random")
    func spread() {
        let told = Duration.milliseconds(1_000)
        let waits = (0..<1_000).map { _ in ReconnectPolicy().delay(after: 1, told: told) }
        #expect(waits.allSatisfy { $0 >= told && $0 <= told * 1.5 })
        var counts = [Int](repeating: 0, count: 5)
        for wait in waits { counts[min(4, Int((wait / told - 1) * 10))] += 1 }
        #expect(counts.allSatisfy { $0 > 100 }, "\(counts)")
    }
}
