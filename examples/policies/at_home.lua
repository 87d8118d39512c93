--- What a client marks as private stays at home.
return function(home, away)
  return function(req)
    local is_private = req.headers["x-private"] ~= nil
    return (is_private and home or away)(req)
  end
end
