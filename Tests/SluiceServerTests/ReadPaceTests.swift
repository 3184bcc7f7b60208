import SluiceServer
import Testing

@Suite("Connections with much to be read")
struct ReadPaceTests {
    private final class Reader: PouringReader {
        var waits = 0

        func waitUnwatched() { waits += 1 }
    }

    @Test("are those whose reads are full, until one brings little")
    func pace() {
        var pace = ReadPace()
        #expect(pace.room(isGreeted: false) == ReadPace.firstBytes)
        #expect(pace.room(isGreeted: true) == ReadPace.lightBytes)
        pace.begin()
        pace.bring(ReadPace.lightBytes - 1, isFull: false)
        pace.end()
        #expect(!pace.isPouring)
        pace.begin()
        pace.bring(ReadPace.lightBytes, isFull: true)
        pace.end()
        #expect(pace.isPouring)
        #expect(pace.room(isGreeted: true) == .max)
        // Its last read is never full.
        pace.begin()
        pace.bring(ReadPace.pouredBytesMin, isFull: false)
        pace.end()
        #expect(pace.isPouring)
        pace.begin()
        pace.bring(ReadPace.pouredBytesMin - 1, isFull: false)
        pace.end()
        #expect(!pace.isPouring)
    }

    @Test("have their turn one after the other, and are told once that they wait")
    func queue() {
        let readers = (0..<3).map { _ in Reader() }
        var waiting = PouringReaders<Reader>()
        for reader in readers.prefix(2) { waiting.add(reader) }
        #expect(waiting.next() === readers[0])
        waiting.unwatchRest()
        waiting.add(readers[2])
        waiting.add(readers[0])
        waiting.unwatchRest()
        #expect(readers.map(\.waits) == [1, 1, 1])
        #expect(waiting.next() === readers[1])
        #expect(waiting.next() === readers[2])
        waiting.unwatchRest()
        #expect(readers.map(\.waits) == [1, 1, 1])
        #expect(waiting.next() === readers[0])
        #expect(waiting.next() == nil && waiting.isEmpty)
        waiting.add(readers[1])
        waiting.unwatchRest()
        #expect(readers.map(\.waits) == [1, 2, 1])
    }
}
