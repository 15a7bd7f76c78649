package emulator

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// decodeJSON reads a body into a message as Google's front end does: names that the schema does not have are refused,
// all of them at once, each with its place. at names the message in the request; "*" is the request itself.
func decodeJSON(raw []byte, m protoreflect.Message, at string) error {
	if len(bytes.TrimSpace(raw)) == 0 {
		return nil
	}
	var value any
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	if err := decoder.Decode(&value); err != nil {
		return badRequest("", "Invalid JSON payload received. "+err.Error())
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return badRequest("", "Invalid JSON payload received. Unexpected token after the end of the payload.")
	}
	if at == "*" {
		at = ""
	}
	if violations := unknownNames(m.Descriptor(), value, at); len(violations) > 0 {
		return refuse(violations)
	}
	if err := protojson.Unmarshal(raw, m.Interface()); err != nil {
		// protojson varies its spaces on purpose, so that nobody depends on its texts.
		text := strings.ReplaceAll(strings.TrimPrefix(err.Error(), "proto:"), "\u00a0", " ")
		return badRequest(at, "Invalid JSON payload received. "+strings.TrimSpace(text))
	}
	return nil
}

// unknownNames finds the names in a JSON value that a message's schema does not have.
func unknownNames(d protoreflect.MessageDescriptor, value any, at string) []*errdetails.BadRequest_FieldViolation {
	object, ok := value.(map[string]any)
	if !ok || strings.HasPrefix(string(d.FullName()), "google.protobuf.") {
		return nil // protojson says what is wrong with it
	}
	var found []*errdetails.BadRequest_FieldViolation
	for _, name := range slices.Sorted(maps.Keys(object)) {
		fd := d.Fields().ByJSONName(name)
		if fd == nil {
			fd = d.Fields().ByName(protoreflect.Name(name))
		}
		if fd == nil {
			found = append(found, unknownName(name, at))
			continue
		}
		found = append(found, unknownInField(fd, object[name], strings.TrimPrefix(at+"."+string(fd.Name()), "."))...)
	}
	return found
}

func unknownInField(fd protoreflect.FieldDescriptor, value any, at string) []*errdetails.BadRequest_FieldViolation {
	if fd.IsMap() {
		fd = fd.MapValue()
		object, _ := value.(map[string]any)
		var found []*errdetails.BadRequest_FieldViolation
		for _, key := range slices.Sorted(maps.Keys(object)) {
			found = append(found, unknownInField(fd, object[key], fmt.Sprintf("%s[%q]", at, key))...)
		}
		return found
	}
	if fd.Message() == nil {
		return nil
	}
	if !fd.IsList() {
		return unknownNames(fd.Message(), value, at)
	}
	list, _ := value.([]any)
	var found []*errdetails.BadRequest_FieldViolation
	for i, element := range list {
		found = append(found, unknownNames(fd.Message(), element, fmt.Sprintf("%s[%d]", at, i))...)
	}
	return found
}

func unknownName(name, at string) *errdetails.BadRequest_FieldViolation {
	where := ""
	if at != "" {
		where = " at '" + at + "'"
	}
	return &errdetails.BadRequest_FieldViolation{
		Field: at, Description: fmt.Sprintf("Invalid JSON payload received. Unknown name %q%s: Cannot find field.", name, where),
	}
}

func badRequest(field, description string) error {
	return refuse([]*errdetails.BadRequest_FieldViolation{{Field: field, Description: description}})
}

// refuse is the INVALID_ARGUMENT of Google's front end: all descriptions, one a line, and the violations as detail.
func refuse(violations []*errdetails.BadRequest_FieldViolation) error {
	var lines []string
	for _, v := range violations {
		lines = append(lines, v.GetDescription())
	}
	return invalid(lines, violations)
}

// refuseFields is the same in the form of Cloud Run itself, whose lines name the fields.
func refuseFields(violations []*errdetails.BadRequest_FieldViolation) error {
	var lines []string
	for _, v := range violations {
		lines = append(lines, v.GetField()+": "+v.GetDescription())
	}
	return invalid(lines, violations)
}

func invalid(lines []string, violations []*errdetails.BadRequest_FieldViolation) error {
	st := status.New(codes.InvalidArgument, strings.Join(lines, "\n"))
	if detailed, err := st.WithDetails(&errdetails.BadRequest{FieldViolations: violations}); err == nil {
		st = detailed
	}
	return st.Err()
}

// errorBody is the envelope of an error in Google's JSON APIs (https://cloud.google.com/apis/design/errors).
type errorBody struct {
	Error struct {
		Code    int               `json:"code"`
		Message string            `json:"message"`
		Status  string            `json:"status"`
		Details []json.RawMessage `json:"details,omitempty"`
	} `json:"error"`
}

// writeError answers with an error.
func writeError(w http.ResponseWriter, err error) {
	st := status.Convert(err)
	if _, ok := status.FromError(err); !ok {
		st = status.New(codes.Internal, err.Error())
	}
	var body errorBody
	body.Error.Code, body.Error.Message, body.Error.Status = httpStatus(st.Code()), st.Message(), code.Code(st.Code()).String()
	for _, detail := range st.Proto().GetDetails() {
		if raw, err := protojson.Marshal(detail); err == nil {
			body.Error.Details = append(body.Error.Details, raw)
		}
	}
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	if st.Code() == codes.Unauthenticated {
		w.Header().Set("WWW-Authenticate", `Bearer realm="https://accounts.google.com/", error="invalid_token"`)
	}
	w.WriteHeader(body.Error.Code)
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	_ = encoder.Encode(body) // what can fail is the client's connection
}

// httpStatus is the HTTP mapping that google/rpc/code.proto gives to each code.
func httpStatus(c codes.Code) int {
	switch c {
	case codes.OK:
		return http.StatusOK
	case codes.Canceled:
		return 499 // client closed request
	case codes.InvalidArgument, codes.FailedPrecondition, codes.OutOfRange:
		return http.StatusBadRequest
	case codes.DeadlineExceeded:
		return http.StatusGatewayTimeout
	case codes.NotFound:
		return http.StatusNotFound
	case codes.AlreadyExists, codes.Aborted:
		return http.StatusConflict
	case codes.PermissionDenied:
		return http.StatusForbidden
	case codes.Unauthenticated:
		return http.StatusUnauthorized
	case codes.ResourceExhausted:
		return http.StatusTooManyRequests
	case codes.Unimplemented:
		return http.StatusNotImplemented
	case codes.Unavailable:
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}

// errorPage answers with a page of Google's front end; args are escaped.
func errorPage(w http.ResponseWriter, code int, title, format string, args ...string) {
	var escaped []any
	for _, a := range args {
		escaped = append(escaped, html.EscapeString(a))
	}
	text := fmt.Sprintf(format, escaped...)
	w.Header().Set("Content-Type", "text/html; charset=UTF-8")
	w.Header().Set("Referrer-Policy", "no-referrer")
	w.WriteHeader(code)
	_, _ = fmt.Fprintf(w, "\n<html><head>\n<meta http-equiv=\"content-type\" content=\"text/html;charset=utf-8\">\n"+
		"<title>%d %s</title>\n</head>\n<body text=#000000 bgcolor=#ffffff>\n<h1>Error: %s</h1>\n<h2>%s</h2>\n<h2></h2>\n</body></html>\n",
		code, title, title, text) // what can fail is the client's connection
}

// notFoundPage is the 404 that comes from Google's front end and not from anything of the user's.
func notFoundPage(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=UTF-8")
	w.Header().Set("Referrer-Policy", "no-referrer")
	w.WriteHeader(http.StatusNotFound)
	_, _ = fmt.Fprintf(w, "<!DOCTYPE html>\n<html lang=en>\n<title>Error 404 (Not Found)!!1</title>\n"+
		"<p><b>404.</b> <ins>That’s an error.</ins>\n<p>The requested URL <code>%s</code> was not found on this server.  "+
		"<ins>That’s all we know.</ins>\n", html.EscapeString(r.URL.Path)) // what can fail is the client's connection
}
