"""Writers: what answers the questions of a job."""
