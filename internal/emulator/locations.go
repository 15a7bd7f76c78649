package emulator

import (
	"context"
	"slices"
	"strings"

	locationpb "google.golang.org/genproto/googleapis/cloud/location"
	"google.golang.org/grpc"
)

// locationsDesc describes google.cloud.location.Locations, whose generated code registers on nothing but a *grpc.Server.
func locationsDesc() *grpc.ServiceDesc {
	const name = "google.cloud.location.Locations"
	return &grpc.ServiceDesc{
		ServiceName: name, HandlerType: (*locationpb.LocationsServer)(nil),
		Methods: []grpc.MethodDesc{
			unary(name, "ListLocations", locationpb.LocationsServer.ListLocations),
			unary(name, "GetLocation", locationpb.LocationsServer.GetLocation),
		},
	}
}

// unary is what generated code has for each method.
func unary[S, Req, Resp any](service, method string, call func(S, context.Context, *Req) (*Resp, error)) grpc.MethodDesc {
	return grpc.MethodDesc{MethodName: method, Handler: func(srv any, ctx context.Context, decode func(any) error, intercept grpc.UnaryServerInterceptor) (any, error) {
		req := new(Req)
		if err := decode(req); err != nil {
			return nil, err
		}
		impl := srv.(S) //nolint:forcetypeassert // grpc checked it against HandlerType
		if intercept == nil {
			return call(impl, ctx, req)
		}
		info := &grpc.UnaryServerInfo{Server: srv, FullMethod: "/" + service + "/" + method}
		return intercept(ctx, req, info, func(ctx context.Context, _ any) (any, error) { return call(impl, ctx, req) })
	}}
}

// cloudRunRegions are the regions of Cloud Run (https://cloud.google.com/run/docs/locations).
func cloudRunRegions() []string {
	return strings.Fields(`
		africa-south1
		asia-east1 asia-east2 asia-northeast1 asia-northeast2 asia-northeast3 asia-south1 asia-south2
		asia-southeast1 asia-southeast2 asia-southeast3 australia-southeast1 australia-southeast2
		europe-central2 europe-north1 europe-north2 europe-southwest1 europe-west1 europe-west10 europe-west12
		europe-west2 europe-west3 europe-west4 europe-west6 europe-west8 europe-west9
		me-central1 me-central2 me-west1
		northamerica-northeast1 northamerica-northeast2 northamerica-south1
		southamerica-east1 southamerica-west1
		us-central1 us-east1 us-east4 us-east5 us-south1 us-west1 us-west2 us-west3 us-west4`)
}

// ListLocations lists the regions that exist, by name.
func (a *admin) ListLocations(ctx context.Context, req *locationpb.ListLocationsRequest) (*locationpb.ListLocationsResponse, error) {
	f, ok := fields(req.GetName(), "projects/*")
	if !ok {
		return nil, malformed("name", req.GetName(), "projects/*")
	}
	if err := a.authorize(ctx, "run.locations.list", req.GetName(), serviceName{location: location{project: f[0]}}); err != nil {
		return nil, err
	}
	regions, next, err := page(slices.Sorted(slices.Values(a.regions)), req.GetPageSize(), req.GetPageToken(), "locations "+f[0],
		func(r string) string { return r }, func(x, y string) bool { return x < y })
	if err != nil {
		return nil, err
	}
	resp := &locationpb.ListLocationsResponse{NextPageToken: next}
	for _, r := range regions {
		resp.Locations = append(resp.Locations, describe(location{f[0], r}))
	}
	return resp, nil
}

// GetLocation describes a region.
func (a *admin) GetLocation(_ context.Context, req *locationpb.GetLocationRequest) (*locationpb.Location, error) {
	l, err := a.location("name", req.GetName())
	if err != nil {
		return nil, err
	}
	return describe(l), nil
}

func describe(l location) *locationpb.Location {
	return &locationpb.Location{
		Name: l.String(), LocationId: l.region,
		Labels: map[string]string{"cloud.googleapis.com/region": l.region},
	}
}
