/// One breach of a rule of the house, worded so that it can be mended without looking further.
struct Breach: Equatable, CustomStringConvertible {
    let path: String
    let line: Int
    let rule: String

    var description: String { "\(path):\(line): \(rule)" }
}
