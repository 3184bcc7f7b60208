import FoundationEssentials
import SluiceCore
import SluiceGrpcMessages
import SwiftProtobuf

/// The files behind the messages, as reflection tells of them.
struct GrpcFiles {
    static let shared = GrpcFiles()

    /// Full names of services, sorted.
    private(set) var services: [String] = []
    private var byName: [Name: Data] = [:]
    private var bySymbol: [Name: Data] = [:]

    private init() {
        guard let data = Data(base64Encoded: GrpcDescriptors.base64),
            let set = try? Google_Protobuf_FileDescriptorSet(serializedBytes: data)
        else { return }
        for file in set.file {
            guard let bytes: Data = try? file.serializedBytes() else { continue }
            byName[Name(file.name)] = bytes
            for service in file.service {
                let name = "\(file.package).\(service.name)"
                services.append(name)
                bySymbol[Name(name)] = bytes
                for method in service.method { bySymbol["\(name).\(method.name)"] = bytes }
            }
            for type in file.messageType { add(type, in: file.package, bytes) }
            for type in file.enumType { add(type, in: file.package, bytes) }
        }
        services.sort()
    }

    private mutating func add(
        _ type: Google_Protobuf_DescriptorProto,
        in parent: String,
        _ bytes: Data
    ) {
        let name = "\(parent).\(type.name)"
        bySymbol[Name(name)] = bytes
        for field in type.field { bySymbol["\(name).\(field.name)"] = bytes }
        for nested in type.nestedType { add(nested, in: name, bytes) }
        for nested in type.enumType { add(nested, in: name, bytes) }
    }

    private mutating func add(
        _ type: Google_Protobuf_EnumDescriptorProto,
        in parent: String,
        _ bytes: Data
    ) {
        bySymbol["\(parent).\(type.name)"] = bytes
        // The values of an enum are its siblings, as in C.
        for value in type.value { bySymbol["\(parent).\(value.name)"] = bytes }
    }

    func file(named name: String) -> Data? { byName[Name(name)] }
    func file(with symbol: String) -> Data? { bySymbol[Name(symbol)] }
    func hasType(_ name: String) -> Bool { bySymbol[Name(name)] != nil }
}

/// `ServerReflectionInfo`: answers each question as it comes.
final class GrpcReflection: GrpcMethod {
    typealias Request = Grpc_Reflection_V1_ServerReflectionRequest
    typealias Response = Grpc_Reflection_V1_ServerReflectionResponse

    private let exchange: HTTPExchange
    private let reply = GrpcReply()
    private let files = GrpcFiles.shared

    init(_ exchange: HTTPExchange) { self.exchange = exchange }

    /// Whoever does not take the answers asks no more.
    var isHolding: Bool { reply.waiting > Limits.httpWriteBytes }

    func take(_ message: [UInt8]) throws(GrpcFailure) {
        let request = try Request(grpc: message)
        var response = Response()
        response.validHost = request.host
        response.originalRequest = request
        response.messageResponse = try answer(request)
        reply.add(response.framed)
        exchange.respond(ResponseHead(200, HTTPExchange.grpcHeaders), .source(self))
        exchange.resume()
    }

    private func answer(
        _ request: Request
    ) throws(GrpcFailure) -> Response.OneOf_MessageResponse {
        switch request.messageRequest {
        case .fileByFilename(let name)?: return file(files.file(named: name), name)
        case .fileContainingSymbol(let symbol)?: return file(files.file(with: symbol), symbol)
        case .fileContainingExtension(let wish)?:
            return missing("there are no extensions of \(wish.containingType)")
        case .allExtensionNumbersOfType(let type)?:
            guard files.hasType(type) else { return missing("there is no \(type)") }
            return .allExtensionNumbersResponse(.with { $0.baseTypeName = type })
        case .listServices?:
            return .listServicesResponse(
                .with { list in
                    list.service = files.services.map { name in .with { $0.name = name } }
                }
            )
        case nil: throw GrpcFailure(.invalidArgument, "the message asks for nothing")
        }
    }

    private func file(_ bytes: Data?, _ name: String) -> Response.OneOf_MessageResponse {
        guard let bytes else { return missing("there is no \(name)") }
        return .fileDescriptorResponse(.with { $0.fileDescriptorProto = [bytes] })
    }

    private func missing(_ text: String) -> Response.OneOf_MessageResponse {
        let code = Int32(GrpcStatus.Code.notFound.rawValue)
        return .errorResponse(
            .with {
                $0.errorCode = code
                $0.errorMessage = text
            }
        )
    }

    func complete() throws(GrpcFailure) { fail(.ok) }

    func fail(_ status: GrpcStatus) {
        exchange.refuse(status)
        reply.finish(status)
        exchange.resume()
    }
}

extension GrpcReflection: BodySource {
    func read(into buffer: UnsafeMutableRawBufferPointer) -> BodyPart {
        let part = reply.read(into: buffer)
        exchange.letGo()
        return part
    }
}
