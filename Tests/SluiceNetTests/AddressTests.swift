import Glibc
import SluiceNet
import Testing

@Suite("Addresses")
struct AddressTests {
    struct Row: CustomTestStringConvertible, Sendable {
        let text: String
        let endpoint: Endpoint
        var testDescription: String { text }
    }

    @Test(
        "an address that people write is read and written back",
        arguments: [
            Row(text: "127.0.0.1:77", endpoint: .tcp(host: "127.0.0.1", port: 77)),
            Row(text: "localhost:0", endpoint: .tcp(host: "localhost", port: 0)),
            Row(
                text: "a-b.example.org:65535",
                endpoint: .tcp(host: "a-b.example.org", port: 65535)
            ),
            Row(text: "[::1]:80", endpoint: .tcp(host: "::1", port: 80)),
            Row(text: "[fe80::1%lo]:80", endpoint: .tcp(host: "fe80::1%lo", port: 80)),
            Row(text: "unix:/run/sluice.sock", endpoint: .unix(path: "/run/sluice.sock")),
            Row(text: "unix:relative:7", endpoint: .unix(path: "relative:7")),
        ]
    )
    func parsed(row: Row) throws {
        let endpoint = try Endpoint(parsing: row.text)
        #expect(endpoint == row.endpoint)
        #expect(endpoint.description == row.text)
    }

    @Test(
        "what is no address is refused with its text",
        arguments: [
            "", ":", ":80", "host", "host:", "host:65536", "host:-1", "host:+80", "host: 80",
            "host:8x", "::1:80", "[::1]", "[::1]80", "[]:80", "[host]:80", "[::1:80", "a/b:80",
            "two words:80", "unix:", "unix:a\0b",
        ]
    )
    func malformed(text: String) {
        #expect(throws: AddressError.malformed(text)) { try Endpoint(parsing: text) }
    }

    @Test("addresses by which a machine reaches itself are told from others")
    func loopback() throws {
        for text in ["127.0.0.1:7", "127.8.9.10:7", "[::1]:7", "[::ffff:127.0.0.1]:7"] {
            let address = try #require(try Endpoint(parsing: text).resolve().first)
            #expect(address.isLoopback, "\(text)")
        }
        for text in [
            "192.0.2.1:7", "12.7.0.1:7", "0.0.0.0:7", "[::]:7", "[2001:db8::1]:7", "[1::1]:7",
            "[::ffff:192.0.2.1]:7", "[::1:0:0]:7", "unix:/run/sluice.sock",
        ] {
            let address = try #require(try Endpoint(parsing: text).resolve().first)
            #expect(!address.isLoopback, "\(text)")
        }
    }

    @Test("a socket path has room for 107 bytes")
    func pathLength() throws {
        let longest = String(repeating: "p", count: 107)
        let address = try #require(try Endpoint(parsing: "unix:" + longest).resolve().first)
        #expect(address.path == longest)
        #expect(address.description == "unix:" + longest)
        let tooLong = longest + "p"
        #expect(throws: AddressError.pathTooLong(tooLong)) {
            try Endpoint(parsing: "unix:" + tooLong)
        }
        #expect(throws: AddressError.pathTooLong(tooLong)) {
            try Endpoint.unix(path: tooLong).resolve()
        }
    }

    @Test("digits resolve to themselves", arguments: ["127.0.0.1:77", "[::1]:77"])
    func resolved(text: String) throws {
        let addresses = try Endpoint(parsing: text).resolve()
        #expect(addresses.map(\.description) == [text])
        #expect(addresses.first?.port == 77)
        #expect(addresses.first?.path == nil)
    }

    @Test("a host that cannot be resolved is named in the error")
    func unresolved() throws {
        let error = try #require(throws: AddressError.self) {
            try Endpoint.tcp(host: "127.0.0.1.9.9", port: 1).resolve()
        }
        #expect(error.description.hasPrefix("127.0.0.1.9.9: "))
    }

    @Test("a system error names the call and says what the system says")
    func systemError() {
        let error = SystemError(code: ECONNREFUSED, call: "connect")
        #expect(error.description == "connect: Connection refused")
        #expect(error.meansPeerGone)
        #expect(!SystemError(code: EMFILE, call: "accept4").meansPeerGone)
    }
}
