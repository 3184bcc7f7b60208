import SluiceEngine
import SluiceTestKit
import Testing

@Suite struct SortedTableTests {
    @Test("A table has what a dictionary has, in order, whatever comes and goes")
    func model() {
        var random = SeededGenerator.replayable("SortedTable")
        var table = SortedTable<Int, Int>()
        var model: [Int: Int] = [:]
        for step in 0..<20_000 {
            let key = Int.random(in: 0..<2_000, using: &random)
            // First it grows, then it goes.
            if Int.random(in: 0..<20_000, using: &random) > step {
                table.insert(step, for: key)
                model[key] = step
            } else {
                table.remove(key)
                model[key] = nil
            }
            let probe = Int.random(in: 0..<2_000, using: &random)
            #expect(table[probe] == model[probe] && table.count == model.count)
            guard step % 500 == 0 else { continue }
            var found: [Int] = []
            table.walk(after: probe) { key, value in
                #expect(model[key] == value)
                found.append(key)
                return true
            }
            #expect(found == model.keys.filter { $0 > probe }.sorted())
            var first: [Int] = []
            table.walk(after: nil) { key, _ in
                first.append(key)
                return first.count < 7
            }
            #expect(first == Array(model.keys.sorted().prefix(7)))
        }
    }
}
