/* SPDX-License-Identifier: Apache-2.0 */
/* What gRPC's Python calls of xDS, where gRPC is built without it. Nothing of ours does. */
#include <stdlib.h>

#define ABSENT(name)                                                                               \
	void name(void);                                                                           \
	void name(void)                                                                            \
	{                                                                                          \
		abort();                                                                           \
	}

ABSENT(grpc_dump_xds_configs)
ABSENT(grpc_server_config_fetcher_xds_create)
ABSENT(grpc_xds_credentials_create)
ABSENT(grpc_xds_server_credentials_create)
